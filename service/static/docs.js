// Swagger UI over our own openapi.json; nothing from elsewhere (its validator badge would be).
SwaggerUIBundle({ dom_id: "#docs", url: "/openapi.json", deepLinking: true, validatorUrl: null });
